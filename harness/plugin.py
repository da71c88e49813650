"""pytest's side of the harness: options, tests per case and per metric, summary, exit status."""
