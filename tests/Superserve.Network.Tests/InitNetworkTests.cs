using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary><c>init-network</c> itself.</summary>
public sealed class InitNetworkTests
{
    [Fact]
    public async Task Running_it_twice_gives_the_same_rules()
    {
        await using PodNetwork network = await Rules.PodAsync();
        string first = await Rules.ListStatelessAsync(network.Pod);
        Assert.Contains("hook postrouting", first, StringComparison.Ordinal);
        await Rules.InstallAsync(network);
        Assert.Equal(first, await Rules.ListStatelessAsync(network.Pod));
    }

    [Fact]
    public async Task It_leaves_the_rules_of_others_alone()
    {
        await using PodNetwork network = await PodNetwork.CreateAsync();
        await network.Pod.RunAsync("nft", "add table inet others");
        await Rules.InstallAsync(network);
        await Rules.InitNetworkAsync(network.Pod, "--remove");
        Assert.Equal("table inet others {\n}\n", await Rules.ListAsync(network.Pod));
    }

    [Fact]
    public async Task It_removes_them_and_removing_nothing_is_no_error()
    {
        await using PodNetwork network = await Rules.PodAsync();
        for (int turn = 0; turn < 2; turn++)
        {
            Outcome outcome = await Rules.InitNetworkAsync(network.Pod, "--remove");
            Assert.Equal("status 0\n\n", outcome.ToString());
            Assert.Empty(await Rules.ListAsync(network.Pod));
        }
    }

    [Fact]
    public async Task It_prints_the_rules_without_installing_them_and_nft_takes_what_it_prints()
    {
        await using PodNetwork network = await PodNetwork.CreateAsync();
        Outcome printed = await Rules.InitNetworkAsync(network.Pod, "--print");
        Assert.Equal(0, printed.Status);
        Assert.Empty(await Rules.ListAsync(network.Pod));
        string file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, printed.Output);
        await network.Pod.RunAsync("nft", "-f", file);
        File.Delete(file);
        string byHand = await Rules.ListStatelessAsync(network.Pod);
        await Rules.InstallAsync(network);
        Assert.Equal(byHand, await Rules.ListStatelessAsync(network.Pod));
    }

    [Fact]
    public async Task Printing_and_removing_do_not_go_together()
    {
        await using PodNetwork network = await Rules.PodAsync();
        Outcome outcome = await Rules.InitNetworkAsync(network.Pod, "--print", "--remove");
        Assert.Equal(2, outcome.Status);
        Assert.NotEmpty(await Rules.ListAsync(network.Pod));
    }

    [Fact]
    public async Task Without_NET_ADMIN_it_says_so_and_changes_nothing()
    {
        await using PodNetwork network = await PodNetwork.CreateAsync();
        Outcome outcome = await Rules.InitNetworkBehindAsync(network.Pod, "setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs");
        Assert.Equal(1, outcome.Status);
        Assert.Contains("lacks the capability NET_ADMIN", outcome.Errors, StringComparison.Ordinal);
        Assert.Empty(await Rules.ListAsync(network.Pod));
    }

    [Fact]
    public async Task Without_nft_it_names_the_package()
    {
        await using PodNetwork network = await PodNetwork.CreateAsync();
        string empty = Directory.CreateTempSubdirectory("no-nft-").FullName;
        Outcome outcome = await Rules.InitNetworkBehindAsync(network.Pod, "unshare", "-m", "sh", "-c", $"mount --bind {empty} /usr/sbin && exec env PATH={empty} \"$@\"", "sh");
        Assert.Equal(1, outcome.Status);
        Assert.Contains("package nftables", outcome.Errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("echo 'Error: Could not process rule: No such file or directory' >&2; exit 1", "Could not process rule: No such file or directory")]
    [InlineData("echo 'Error: Could not process rule: No such file or directory' >&2; exit 1", "capture Explicit for that runtimeClass")]
    [InlineData("exit 3", "exit status 3, without a message")]
    [InlineData("exec cat /dev/zero", "no end within 10 s")]
    [InlineData("sleep 600", "no end within 10 s")]
    [InlineData("exit 0", "packets do not pass through them")]
    [InlineData("[ -z \"$SECRET\" ] || exit 0; echo 'nothing of the environment'; exit 1", "nothing of the environment")]
    public async Task What_nft_says_is_passed_on_with_what_to_do(string nft, string message)
    {
        await using PodNetwork network = await PodNetwork.CreateAsync();
        string folder = Directory.CreateTempSubdirectory("nft-").FullName;
        string program = Path.Combine(folder, "nft");
        await File.WriteAllTextAsync(program, $"#!/bin/sh\nPATH=/usr/bin:/bin\n{nft}\n");
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        Outcome outcome = await Rules.InitNetworkBehindAsync(network.Pod, "env", $"PATH={folder}", "SECRET=1");
        Assert.Equal(1, outcome.Status);
        Assert.Contains(message, outcome.Errors, StringComparison.Ordinal);
        Assert.True(outcome.Errors.Length < 8192);
        Assert.Empty(await Rules.ListAsync(network.Pod));
    }
}
