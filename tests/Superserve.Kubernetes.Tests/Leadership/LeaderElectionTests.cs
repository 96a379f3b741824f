using k8s.Models;
using Microsoft.Extensions.Time.Testing;
using Superserve.Kubernetes.Leadership;
using Superserve.Kubernetes.Tests.Support;
using Superserve.Testing;

namespace Superserve.Kubernetes.Tests.Leadership;

public sealed class LeaderElectionTests : IAsyncDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly FakeLeases _leases = new();
    private readonly List<Candidate> _candidates = [];

    public async ValueTask DisposeAsync()
    {
        _leases.BeforeRead = _leases.BeforeWrite = _leases.AfterWrite = () => Task.CompletedTask;
        foreach (Candidate candidate in _candidates)
        {
            candidate.Finish.TrySetResult();
            await candidate.Stop.CancelAsync();
        }

        await Task.WhenAll(_candidates.Select(candidate => candidate.Running)).WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System)
            .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    [Fact]
    public async Task A_leader_stays_leader_while_it_can_renew_and_the_others_wait()
    {
        Candidate first = Start("first");
        await Leads(first);
        Candidate second = Start("second");
        await Pass(TimeSpan.FromMinutes(5));
        Assert.True(first.Election.IsLeader);
        Assert.False(second.Election.IsLeader);
        V1LeaseSpec spec = _leases.Current!.Spec;
        Assert.Equal(("first", 15, 0), (spec.HolderIdentity, spec.LeaseDurationSeconds, spec.LeaseTransitions));
        Assert.True(spec.RenewTime > spec.AcquireTime);
    }

    [Fact]
    public async Task A_leader_that_died_is_followed_after_the_leases_duration()
    {
        _leases.Apply(LeaseOf("dead"));
        Candidate next = Start("next");
        await Pass(TimeSpan.FromSeconds(14));
        Assert.False(next.Election.IsLeader);
        await Leads(next);
        Assert.Equal(1, _leases.Current!.Spec.LeaseTransitions);
    }

    [Fact]
    public async Task A_lease_with_ones_own_name_is_waited_for_like_any_other()
    {
        _leases.Apply(LeaseOf("me"));
        Candidate me = Start("me");
        await Pass(TimeSpan.FromSeconds(14));
        Assert.False(me.Election.IsLeader);
        await Leads(me);
    }

    [Fact]
    public async Task Leadership_lost_in_the_middle_of_a_write_is_lost_whatever_becomes_of_the_write()
    {
        Candidate leader = Start("leader");
        await Leads(leader);
        TaskCompletionSource answer = new(), sent = new();
        _leases.BeforeWrite = () =>
        {
            sent.TrySetResult();
            return answer.Task;
        };
        await Eventually.True(() => sent.Task.IsCompleted, "a renewal is on its way", _time, TimeSpan.FromSeconds(1));
        await Eventually.True(() => leader.Exits == 1, "it lost", _time, TimeSpan.FromSeconds(1));
        Assert.False(leader.Election.IsLeader);
        Assert.True(leader.Token.IsCancellationRequested);

        _leases.BeforeWrite = () => Task.CompletedTask;
        answer.SetResult();
        await Pass(TimeSpan.FromMinutes(1));
        int writes = _leases.Writes.Count;
        await Pass(TimeSpan.FromMinutes(1));
        Assert.False(leader.Election.IsLeader);
        Assert.Equal(writes, _leases.Writes.Count);
        Assert.Equal(1, leader.Exits);
        Assert.Equal("leader", _leases.Current!.Spec.HolderIdentity);
    }

    [Fact]
    public async Task Nothing_is_written_after_leadership_was_lost_during_a_read()
    {
        Candidate leader = Start("leader");
        await Leads(leader);
        TaskCompletionSource answer = new(), sent = new();
        _leases.BeforeRead = () =>
        {
            sent.TrySetResult();
            return answer.Task;
        };
        await Eventually.True(() => sent.Task.IsCompleted, "a renewal is on its way", _time, TimeSpan.FromSeconds(1));
        int writes = _leases.Writes.Count;
        await Eventually.True(() => leader.Exits == 1, "it lost", _time, TimeSpan.FromSeconds(1));
        answer.SetResult();
        await Pass(TimeSpan.FromMinutes(1));
        Assert.Equal(writes, _leases.Writes.Count);
    }

    [Fact]
    public async Task A_renewal_that_is_answered_after_the_deadline_does_not_count_even_before_a_timer_says_so()
    {
        PausableTime time = new(_time);
        Candidate leader = Start("leader", time);
        await Leads(leader, time);
        TaskCompletionSource answer = new(), sent = new();
        _leases.AfterWrite = () =>
        {
            sent.TrySetResult();
            return answer.Task;
        };
        for (int steps = 0; steps < 5 && !sent.Task.IsCompleted; steps++)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            time.CatchUp();
        }

        // Late for the term, though not for one that would begin with this renewal.
        _time.Advance(TimeSpan.FromSeconds(9));
        Assert.False(leader.Election.IsLeader);
        answer.SetResult();
        Assert.False(leader.Election.IsLeader);
        await Eventually.True(() => leader.Exits == 1, "it exits");
    }

    [Fact]
    public async Task A_taken_lease_whose_answer_comes_after_the_deadline_makes_no_leader()
    {
        TaskCompletionSource answer = new();
        _leases.AfterWrite = () => answer.Task;
        Candidate late = Start("late");
        await Pass(TimeSpan.FromSeconds(12));
        Assert.Equal("late", _leases.Current!.Spec.HolderIdentity);
        answer.SetResult();
        await Eventually.Settle();
        Assert.False(late.Election.IsLeader);
    }

    [Fact]
    public async Task A_term_is_counted_from_when_its_write_was_sent_not_from_its_answer()
    {
        TaskCompletionSource answer = new();
        _leases.AfterWrite = () => answer.Task;
        Candidate leader = Start("leader");
        _time.Advance(TimeSpan.FromSeconds(4));
        _leases.BeforeRead = () => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System);
        answer.SetResult();
        await Eventually.True(() => leader.Election.IsLeader, "it leads");
        _time.Advance(TimeSpan.FromSeconds(6));
        Assert.False(leader.Election.IsLeader);
    }

    [Fact]
    public async Task A_leader_that_was_paused_does_not_lead_when_it_wakes_up()
    {
        PausableTime time = new(_time);
        Candidate leader = Start("leader", time);
        await Leads(leader, time);
        _time.Advance(TimeSpan.FromSeconds(11));
        Assert.False(leader.Election.IsLeader);
        int writes = _leases.Writes.Count;
        time.CatchUp();
        await Eventually.True(() => leader.Exits == 1, "it exits");
        Assert.Equal(writes, _leases.Writes.Count);
    }

    [Theory]
    [InlineData(-3600)]
    [InlineData(3600)]
    [InlineData(-2)]
    public async Task A_clock_that_is_stepped_changes_nothing(int seconds)
    {
        PausableTime one = new(_time), other = new(_time) { Offset = TimeSpan.FromDays(-400) };
        Candidate leader = Start("leader", one);
        await Leads(leader, one);
        Candidate follower = Start("follower", other);
        for (int steps = 0; steps < 40; steps++)
        {
            // Backwards by what has passed: the leader's clock stands still, and its renewals must still look new.
            one.Offset += TimeSpan.FromSeconds(seconds);
            other.Offset -= TimeSpan.FromSeconds(3 * seconds);
            _time.Advance(TimeSpan.FromSeconds(2));
            one.CatchUp();
            other.CatchUp();
            Assert.True(leader.Election.IsLeader);
            Assert.False(follower.Election.IsLeader);
        }
    }

    [Fact]
    public async Task A_lease_in_someone_elses_name_ends_leadership_at_once()
    {
        Candidate leader = Start("leader");
        await Leads(leader);
        V1Lease stolen = _leases.Current!;
        stolen.Spec.HolderIdentity = "thief";
        _leases.Apply(stolen);
        await Eventually.True(() => leader.Exits == 1, "it exits", _time, TimeSpan.FromMilliseconds(500));
        Assert.True(leader.Token.IsCancellationRequested);
        Assert.Equal("thief", _leases.Current!.Spec.HolderIdentity);
    }

    [Fact]
    public async Task Shutdown_gives_the_lease_up_once_the_work_has_ended_and_the_next_leads_at_once()
    {
        Candidate first = Start("first");
        await Leads(first);
        Candidate second = Start("second");
        await first.Stop.CancelAsync();
        await Eventually.True(() => first.Token.IsCancellationRequested, "the work is told");
        await Eventually.Settle();
        Assert.Equal("first", _leases.Current!.Spec.HolderIdentity);

        first.Finish.SetResult();
        await Eventually.Cancelled(first.Running);
        Assert.Equal("", _leases.Current!.Spec.HolderIdentity);
        Assert.Equal(0, first.Exits);
        await Pass(TimeSpan.FromSeconds(3));
        Assert.True(second.Election.IsLeader);
    }

    [Fact]
    public async Task Work_that_does_not_end_keeps_the_lease_from_the_next_until_the_process_is_gone()
    {
        Candidate leader = Start("leader");
        await Leads(leader);
        await leader.Stop.CancelAsync();
        await Eventually.True(() => leader.Exits == 1, "it exits", _time, TimeSpan.FromSeconds(1));
        Assert.Equal("leader", _leases.Current!.Spec.HolderIdentity);
    }

    [Fact]
    public async Task Work_that_fails_gives_the_lease_up_and_says_so()
    {
        Candidate leader = Start("leader");
        await Leads(leader);
        leader.Finish.SetException(new InvalidDataException());
        await Assert.ThrowsAsync<InvalidDataException>(() => leader.Running.WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System));
        Assert.Equal("", _leases.Current!.Spec.HolderIdentity);
    }

    [Fact]
    public async Task A_candidate_can_be_cancelled_before_it_ever_leads()
    {
        _leases.BeforeRead = () => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System);
        Candidate candidate = Start("candidate");
        await candidate.Stop.CancelAsync();
        await Eventually.Cancelled(candidate.Running);
        Assert.Empty(_leases.Writes);
    }

    [Theory]
    [InlineData(15, 15, 2)]
    [InlineData(15, 10, 6)]
    public void Times_that_are_not_safe_are_refused(int lease, int renew, int retry) =>
        Assert.Throws<ArgumentException>(() => new Candidate(_leases, _time, "x", new LeaderElectionOptions("ns", "lease")
        {
            LeaseDuration = TimeSpan.FromSeconds(lease),
            RenewDeadline = TimeSpan.FromSeconds(renew),
            RetryPeriod = TimeSpan.FromSeconds(retry),
        }));

    [Fact]
    public async Task The_lease_in_the_API_server_is_made_once_and_written_only_by_who_read_it_last()
    {
        string lease = """{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"op","namespace":"superserve","resourceVersion":"7"},"spec":{"holderIdentity":"x"}}""";
        await using FakeApiServer server = await FakeApiServer.StartAsync();
        server.On("list", Objects.Status(404, "NotFound"), 404).On("list", lease);
        server.On("POST", Objects.Status(409, "AlreadyExists"), 409).On("POST", lease);
        server.On("PUT", Objects.Status(409, "Conflict"), 409).On("PUT", lease);
        using var connection = server.Connect();
        LeaseStore store = new(connection, new LeaderElectionOptions("superserve", "op"));
        Assert.Null(await store.ReadAsync(CancellationToken.None));
        V1Lease fresh = new() { Metadata = new() { Name = "op" }, Spec = new() { HolderIdentity = "" } };
        Assert.Null(await store.WriteAsync(fresh, CancellationToken.None));
        Assert.NotNull(await store.WriteAsync(fresh, CancellationToken.None));
        V1Lease read = (await store.ReadAsync(CancellationToken.None))!;
        Assert.Null(await store.WriteAsync(read, CancellationToken.None));
        Assert.NotNull(await store.WriteAsync(read, CancellationToken.None));
        Assert.Contains("\"holderIdentity\":\"\"", server.Requests[1].Body, StringComparison.Ordinal);
        Assert.Contains("\"resourceVersion\":\"7\"", server.Requests[^1].Body, StringComparison.Ordinal);
        Assert.Equal("/apis/coordination.k8s.io/v1/namespaces/superserve/leases/op", server.Requests[^1].Path);
    }

    private static V1Lease LeaseOf(string holder) => new()
    {
        Metadata = new() { Name = "lease", NamespaceProperty = "ns" },
        Spec = new() { HolderIdentity = holder, LeaseDurationSeconds = 15 },
    };

    private Candidate Start(string name, TimeProvider? time = null)
    {
        Candidate candidate = new(_leases, time ?? _time, name);
        _candidates.Add(candidate);
        candidate.Start();
        return candidate;
    }

    private Task Leads(Candidate candidate, PausableTime? time = null) => Eventually.True(
        () =>
        {
            time?.CatchUp();
            return candidate.Election.IsLeader && candidate.Token.CanBeCanceled;
        },
        "it leads", _time, TimeSpan.FromMilliseconds(500));

    private async Task Pass(TimeSpan time)
    {
        for (TimeSpan passed = TimeSpan.Zero; passed < time; passed += TimeSpan.FromMilliseconds(500))
        {
            _time.Advance(TimeSpan.FromMilliseconds(500));
            await Task.Yield();
        }
    }
}
