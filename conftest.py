"""The plugin for every folder of tests; an installed toolgate loads it by its entry point."""

pytest_plugins = ["harness.plugin"]
