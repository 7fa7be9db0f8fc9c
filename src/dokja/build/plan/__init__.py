"""What a training run takes, before anyone pays: layout, memory, speed, days, energy. Arithmetic on specs; no torch."""
