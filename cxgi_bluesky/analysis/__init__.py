"""Analysis: numbers from images and scans."""
