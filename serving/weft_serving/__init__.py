"""The service: photos in, kilograms out; a scan in, fibre shares out. Imports `weft` only; no torch."""
