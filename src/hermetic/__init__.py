"""Hermetic keeps everything an AI pipeline touches sealed from ingestion to inference, and proves it."""
