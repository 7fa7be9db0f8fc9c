"""What a trained model learns further: preferences, rewards, a teacher. Each file is one objective and its settings."""
