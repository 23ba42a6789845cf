"""The reference profile: what drift is measured against."""
