"""What Daysheet is measured against."""
