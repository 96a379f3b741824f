using System.Net;
using Microsoft.Extensions.Time.Testing;
using Superserve.Sidecar.Dns;

namespace Superserve.Sidecar.Tests.Dns;

public sealed class NameMemoryTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly NameMemory _memory;

    public NameMemoryTests() => _memory = new NameMemory(_time);

    private void Remember(string name, string address, int seconds = 60) => _memory.Remember(name, [IPAddress.Parse(address)], TimeSpan.FromSeconds(seconds));

    private IReadOnlyList<string> NamesOf(string address) => _memory.NamesOf(IPAddress.Parse(address));

    [Fact]
    public void An_address_has_the_names_that_it_was_given_for_the_newest_first()
    {
        Remember("a.test", "192.0.2.1");
        Remember("b.test", "192.0.2.1");
        Remember("c.test", "192.0.2.2");
        Assert.Equal(["b.test", "a.test"], NamesOf("192.0.2.1"));
        Remember("a.test", "192.0.2.1");
        Assert.Equal(["a.test", "b.test"], NamesOf("192.0.2.1"));
        Assert.Empty(NamesOf("192.0.2.3"));
    }

    [Fact]
    public void A_mapped_address_is_the_IPv4_address()
    {
        Remember("a.test", "::ffff:192.0.2.1");
        Assert.Equal(["a.test"], NamesOf("192.0.2.1"));
        Assert.Equal(["a.test"], NamesOf("::ffff:192.0.2.1"));
    }

    [Theory]
    [InlineData(0, 300)]
    [InlineData(600, 600)]
    [InlineData(86400, 3600)]
    public void A_name_is_kept_for_its_time_to_live_within_bounds(int timeToLive, int keptFor)
    {
        Remember("a.test", "192.0.2.1", timeToLive);
        _time.Advance(TimeSpan.FromSeconds(keptFor - 1));
        Assert.Equal(["a.test"], NamesOf("192.0.2.1"));
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Empty(NamesOf("192.0.2.1"));
    }

    [Fact]
    public void Of_many_names_the_newest_eight_are_kept()
    {
        for (int i = 0; i < 20; i++) Remember($"n{i}.test", "192.0.2.1");
        Assert.Equal(Enumerable.Range(12, 8).Reverse().Select(i => $"n{i}.test"), NamesOf("192.0.2.1"));
    }

    [Fact]
    public void Of_many_addresses_those_given_last_are_kept()
    {
        for (int i = 0; i < 4096; i++) Remember("a.test", $"10.0.{i >> 8}.{i & 255}");
        Remember("a.test", "10.0.0.0");
        Remember("b.test", "192.0.2.1");
        Assert.Equal(["a.test"], NamesOf("10.0.0.0"));
        Assert.Empty(NamesOf("10.0.0.1"));
        Assert.Equal(["b.test"], NamesOf("192.0.2.1"));
    }

    [Fact]
    public void One_answer_gives_so_many_addresses_at_most()
    {
        _memory.Remember("a.test", Enumerable.Range(0, 200).Select(i => new IPAddress([10, 0, 0, (byte)i])), TimeSpan.Zero);
        Assert.Equal(64, Enumerable.Range(0, 200).Count(i => NamesOf($"10.0.0.{i}").Count > 0));
    }
}
