"""The demo: a real clinical model, trained, served, rolled out, rolled back and watched."""
