"""All packs of a plan: as Ray Tune trials on the devices there are, or one after another in this process."""
