"""The report on the data: counts without patients, as JSON and as one HTML page."""
