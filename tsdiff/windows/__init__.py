"""Series as windows that a network takes: cut, scaled, with calendar and known values."""
