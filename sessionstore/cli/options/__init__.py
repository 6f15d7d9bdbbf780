"""What a command takes: ids, statuses, fields, units, and what commands share."""
