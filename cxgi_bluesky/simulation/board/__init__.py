"""The board of masks: drawing, etching, the light that each tile passes, and a cache of it."""
