"""What the loop works with: a run is opened and probed, stepped, recorded, measured and ended."""
