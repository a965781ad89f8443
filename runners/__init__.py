"""What each runner needs beyond Beam's own: for Flink, the options, the job server, and a cluster of one's own."""
