using Microsoft.Extensions.Logging.Abstractions;
using Superserve.Kubernetes.Leadership;
using Superserve.Kubernetes.Tests.Support;

namespace Superserve.Kubernetes.Tests.Leadership;

/// <summary>One process that wants to lead, and whose work ends when the test says so.</summary>
internal sealed class Candidate
{
    private int _exits;

    public Candidate(ILeaseStore leases, TimeProvider time, string name, LeaderElectionOptions? options = null)
    {
        Name = name;
        Election = new LeaderElection(
            leases, (options ?? new LeaderElectionOptions("ns", "lease")) with { Identity = name }, () => Interlocked.Increment(ref _exits),
            new Metrics().Kubernetes, time, NullLogger<LeaderElection>.Instance);
    }

    public string Name { get; }

    public LeaderElection Election { get; }

    public CancellationTokenSource Stop { get; } = new();

    /// <summary>Ends the work.</summary>
    public TaskCompletionSource Finish { get; } = new();

    /// <summary>What the work was given.</summary>
    public CancellationToken Token { get; private set; }

    public int Exits => Volatile.Read(ref _exits);

    public Task Running { get; private set; } = Task.CompletedTask;

    public void Start()
    {
        // No context to post to: what a clock or an answer sets off runs there and then.
        SynchronizationContext.SetSynchronizationContext(null);
        Running = Election.RunAsync(
            token =>
            {
                Token = token;
                return Finish.Task;
            },
            Stop.Token);
    }
}
