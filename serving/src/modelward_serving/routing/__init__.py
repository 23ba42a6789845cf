"""Which version answers a request, and what a challenger is asked."""
