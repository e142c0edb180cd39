"""Films: frames in and out without loss where nothing was restored; needs the extra `video`."""
