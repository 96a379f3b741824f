using System.Net;
using Superserve.Sidecar.Configuration;
using Superserve.Sidecar.Dns;

namespace Superserve.Sidecar.Tests.Dns;

public sealed class ResolverFileTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("superserve-resolv-").FullName;

    private string Shared => Path.Combine(_directory, "shared", "resolv.conf");

    private SidecarOptions Options(bool isKept) => TestOptions.Of(_directory) with { ResolverFile = Shared, KeepsResolvers = isKept };

    private void Write(string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Shared)!);
        File.WriteAllText(Shared, text);
    }

    [Fact]
    public void The_file_is_read_as_libc_reads_it()
    {
        ResolverSettings settings = ResolverSettings.Parse("""
            # nameserver 192.0.2.250
            ; nameserver 192.0.2.251
            nameserver 192.0.2.1
            nameserver	2001:db8::1
            nameserver nonsense
            nameserver [2001:db8::2]:5353
            nameserver 192.0.2.4
            domain first.test
            search agents.svc.cluster.local SVC.cluster.local a..b cluster.local
            options ndots:5 timeout:2 attempts:3 edns0 rotate
            """);
        Assert.Equal(["192.0.2.1:53", "[2001:db8::1]:53", "[2001:db8::2]:5353"], settings.Servers.Select(server => server.ToString()));
        Assert.Equal(["agents.svc.cluster.local", "svc.cluster.local", "cluster.local"], settings.Search);
        Assert.Equal((5, TimeSpan.FromSeconds(2), 3), (settings.Dots, settings.Timeout, settings.Attempts));
    }

    [Theory]
    [InlineData("")]
    [InlineData("nameserver")]
    [InlineData("options ndots:x timeout: attempts:-1")]
    [InlineData("\0\uffff nameserver [")]
    public void What_is_not_understood_leaves_the_defaults(string text)
    {
        ResolverSettings settings = ResolverSettings.Parse(text);
        Assert.Equal("127.0.0.1:53", Assert.Single(settings.Servers).ToString());
        Assert.Equal((1, TimeSpan.FromSeconds(5), 2), (settings.Dots, settings.Timeout, settings.Attempts));
    }

    [Fact]
    public void Numbers_are_kept_within_bounds()
    {
        ResolverSettings settings = ResolverSettings.Parse($"search {string.Join(' ', Enumerable.Range(0, 99).Select(i => $"s{i}.test"))}\noptions ndots:99 timeout:99999 attempts:99");
        Assert.Equal((15, TimeSpan.FromSeconds(30), 5, 32), (settings.Dots, settings.Timeout, settings.Attempts, settings.Search.Count));
    }

    [Fact]
    public void A_changed_file_is_read_again()
    {
        Write("nameserver 192.0.2.1");
        ResolverFile file = new(Options(isKept: false));
        Assert.Equal("192.0.2.1:53", file.Current.Servers[0].ToString());
        Write("nameserver 192.0.2.22");
        Assert.Equal("192.0.2.22:53", file.Current.Servers[0].ToString());
        File.Delete(Shared);
        Assert.Equal("192.0.2.22:53", file.Current.Servers[0].ToString());
    }

    [Fact]
    public void What_root_in_the_sandbox_writes_into_the_shared_file_is_never_read()
    {
        Write("nameserver 192.0.2.1");
        ResolverFile first = new(Options(isKept: true));
        Write("nameserver 192.0.2.66");
        Assert.Equal("192.0.2.1:53", first.Current.Servers[0].ToString());
        // A restarted sidecar finds the file as the sandbox left it.
        ResolverFile restarted = new(Options(isKept: true));
        Assert.Equal("192.0.2.1:53", restarted.Current.Servers[0].ToString());
    }

    [Fact]
    public void A_file_that_cannot_be_read_and_kept_ends_the_start()
    {
        Assert.Contains("make the pod anew", Assert.Throws<InvalidOperationException>(() => new ResolverFile(Options(isKept: true))).Message, StringComparison.Ordinal);
        Write(new string('#', 100_000));
        Assert.Throws<InvalidOperationException>(() => new ResolverFile(Options(isKept: true)));
    }

    [Fact]
    public void Without_a_state_directory_the_message_names_the_file_alone()
    {
        string message = Assert.Throws<InvalidOperationException>(() => new ResolverFile(Options(isKept: true) with { StateDirectory = null })).Message;
        Assert.StartsWith($"{Shared} cannot be read (", message, StringComparison.Ordinal);
        Assert.DoesNotContain("kept in", message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_no_regular_file_is_not_read()
    {
        Directory.CreateDirectory(Shared);
        ResolverFile file = new(Options(isKept: false));
        Assert.Equal(IPAddress.Loopback, file.Current.Servers[0].Address);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);
}
