"""Documents that operator, serving pods and training pods exchange."""
