"""From examples to an adapter; reads evals/ only to throw examples away."""
