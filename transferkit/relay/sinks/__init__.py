"""The sinks that transferkit ships. Each needs the extra of its name."""
