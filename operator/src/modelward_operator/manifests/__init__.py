"""From a decision to manifests: pure and deterministic, applied by server-side apply."""
