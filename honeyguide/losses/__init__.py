"""Loss terms: functions of tensors, one value per event."""
