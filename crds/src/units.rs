//! Durations (`100s`, `5m`, `1h30m`) and sizes (`128Mi`), as spec fields spell them.
