"""Records of the topics, their parsing, the reasons for rejection, and the settings. Pure: no I/O, no clock."""
