using FsCheck.Xunit;
using k8s;
using k8s.Models;
using Microsoft.Extensions.Time.Testing;
using Superserve.Kubernetes.Leadership;
using Superserve.Kubernetes.Tests.Support;

namespace Superserve.Kubernetes.Tests.Leadership;

/// <summary>
/// Three machines, one Lease, and a network that delays, loses and reorders as it likes, with processes that pause and clocks that
/// jump: whatever the order of things, no two processes lead at the same moment.
/// </summary>
public sealed class LeadershipProperties
{
    [Property(MaxTest = 60)]
    public void Two_candidates_never_lead_at_once(uint seed)
    {
        using World world = new();
        world.Run(seed, steps: 2_000);
    }

    /// <summary>The property above says nothing if nobody ever leads.</summary>
    [Fact]
    public void The_interleavings_lead_to_leaders_to_losses_and_to_releases()
    {
        using World world = new();
        for (uint seed = 0; seed < 200 && !Enough(); seed++) world.Run(seed, steps: 5_000);
        Assert.True(Enough(), $"{world.Terms} terms, {world.Losses} losses, {world.Releases} releases");

        bool Enough() => world is { Terms: > 50, Losses: > 10, Releases: > 10 };
    }

    private sealed class World : IDisposable
    {
        private const int Machines = 3;
        private const int Recent = 6;

        private readonly FakeTimeProvider _time = new();
        private readonly FakeLeases _server = new();
        private readonly PausableTime[] _clocks;
        private readonly bool[] _paused = new bool[Machines];
        private readonly Candidate[] _candidates = new Candidate[Machines];
        private readonly List<Network> _requests = [];
        private readonly HashSet<Candidate> _counted = [];
        private readonly HashSet<Candidate> _settled = [];
        private int _names;

        public World()
        {
            _clocks = [.. Enumerable.Range(0, Machines).Select(machine => new PausableTime(_time) { Offset = TimeSpan.FromHours(machine) })];
            for (int machine = 0; machine < Machines; machine++) Boot(machine);
        }

        public int Terms => _counted.Count;

        public int Losses { get; private set; }

        public int Releases => _server.Writes.Count(write => write is { Holder: "", Taken: true });

        public void Run(uint seed, int steps)
        {
            for (uint state = seed; steps > 0; steps--)
            {
                state = (state * 1664525) + 1013904223;
                Do((byte)(state >> 24));
            }
        }

        private void Do(byte step)
        {
            int number = step >> 3;
            int machine = number % Machines;
            switch (step & 7)
            {
                case 0:
                    _time.Advance(TimeSpan.FromMilliseconds(100 * number));
                    break;
                case 1 or 2:
                    CatchUp(machine);
                    break;
                case 3:
                    With(number, request => request.Arrive());
                    break;
                case 4:
                    // The common case: a request that is answered.
                    With(number, request => request.Arrive());
                    With(number, request => request.Answer());
                    break;
                case 5:
                    With(number, request => request.Answer());
                    break;
                case 6:
                    if (number < 8) With(number, request => request.Break());
                    else if (number < 12) _clocks[machine].Offset += TimeSpan.FromSeconds(number % 2 == 0 ? -1000 : 500);
                    else if (number < 18) _paused[machine] = !_paused[machine];
                    else CatchUp(machine);
                    break;
                case 7:
                    if (number < 3) _candidates[machine].Stop.Cancel();
                    else if (number < 8) _candidates[machine].Finish.TrySetResult();
                    else for (int each = 0; each < Machines; each++) CatchUp(each);
                    break;
            }

            Check();
        }

        public void Dispose()
        {
            foreach (Candidate candidate in _candidates) candidate.Stop.Cancel();
        }

        private void CatchUp(int machine)
        {
            if (!_paused[machine]) _clocks[machine].CatchUp();
        }

        private void Check()
        {
            Settle();
            Candidate[] leaders = [.. _candidates.Where(candidate => candidate.Election.IsLeader)];
            Assert.True(leaders.Length <= 1, $"{string.Join(" and ", leaders.Select(leader => leader.Name))} lead at once");
            _counted.UnionWith(leaders);
            for (int machine = 0; machine < Machines; machine++)
            {
                if (_candidates[machine].Exits == 0 && !_candidates[machine].Running.IsCompleted) continue;
                Losses += _candidates[machine].Exits;
                Assert.False(_candidates[machine].Election.IsLeader);
                Boot(machine);
            }
        }

        /// <summary>
        /// The end of a term is told on other threads. Waiting for that keeps things moving; that it may be cut short keeps the
        /// orders in which it comes late.
        /// </summary>
        private void Settle()
        {
            foreach (Candidate candidate in _candidates)
                if (_counted.Contains(candidate) && !candidate.Election.IsLeader && _settled.Add(candidate))
                    SpinWait.SpinUntil(() => candidate.Running.IsCompleted || candidate.Exits > 0, TimeSpan.FromMilliseconds(20));
        }

        private void Boot(int machine)
        {
            Candidate candidate = new(new Machine(this), _clocks[machine], $"process-{++_names}");
            _candidates[machine] = candidate;
            candidate.Start();
        }

        private void With(int number, Action<Network> action)
        {
            Network request;
            lock (_requests)
            {
                _requests.RemoveAll(old => old.IsOver);
                // The network forgets in the end what its sender has given up.
                if (_requests.Count > 2 * Recent) _requests.RemoveAt(0);
                if (_requests.Count == 0) return;
                // Mostly the newest, so that things go on; sometimes an old one, which nobody expects any more.
                request = number < 20 ? _requests[^1] : _requests[^(1 + (number % Math.Min(Recent, _requests.Count)))];
            }

            action(request);
        }

        /// <summary>The way of one machine's requests: each is an entry in the network, which the steps move on.</summary>
        private sealed class Machine(World world) : ILeaseStore
        {
            public Task<V1Lease?> ReadAsync(CancellationToken cancellationToken) => Send(() => world._server.Current, cancellationToken);

            public Task<V1Lease?> WriteAsync(V1Lease lease, CancellationToken cancellationToken)
            {
                string sent = KubernetesJson.Serialize(lease);
                return Send(() => world._server.Apply(KubernetesJson.Deserialize<V1Lease>(sent)), cancellationToken);
            }

            private Task<V1Lease?> Send(Func<V1Lease?> apply, CancellationToken cancellationToken)
            {
                Network request = new(apply, cancellationToken);
                lock (world._requests) world._requests.Add(request);
                return request.Task;
            }
        }
    }

    /// <summary>A request on its way. Cancelling it tells the sender, not the network.</summary>
    private sealed class Network
    {
        private readonly TaskCompletionSource<V1Lease?> _answer = new();
        private readonly Func<V1Lease?> _apply;
        private V1Lease? _result;
        private bool _arrived;

        public Network(Func<V1Lease?> apply, CancellationToken cancellationToken)
        {
            _apply = apply;
            cancellationToken.Register(() => _answer.TrySetCanceled(cancellationToken));
        }

        public Task<V1Lease?> Task => _answer.Task;

        public bool IsOver => _arrived && _answer.Task.IsCompleted;

        public void Arrive()
        {
            if (_arrived) return;
            _arrived = true;
            _result = _apply();
        }

        public void Answer()
        {
            if (_arrived) _answer.TrySetResult(_result);
        }

        public void Break() => _answer.TrySetException(new IOException("The connection broke."));
    }
}
