"""Tables of responses on the host: cells, identifiers, frames, and how two are matched."""
