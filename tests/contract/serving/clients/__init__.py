"""Programs that use other projects' clients as these projects' documentation does; each runs in an environment of its own."""
