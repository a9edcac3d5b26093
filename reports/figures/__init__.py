"""One Plotly figure per file. Each takes the run and returns a chart, or None without data."""
