"""Options and arguments: ids, filters, fields, units, and what all commands share."""
