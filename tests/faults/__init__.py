"""The promises under fire: kills, failing calls, lost power, hostile content."""
