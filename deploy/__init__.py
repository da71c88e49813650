"""From an adapter to traffic."""
