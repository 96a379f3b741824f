// A meter provider hears every meter of its name in the process: two sidecars at once would count for each other.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
