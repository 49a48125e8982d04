"""From media to face crops: decoding, detection, choice of the face, cropping, quality."""
