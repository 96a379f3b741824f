using System.Text;
using System.Text.Json.Nodes;
using Superserve.Testing;
using Superserve.Testing.Network;

namespace Superserve.Network.Tests;

/// <summary>Clients as a sandbox's image has them, which know of no proxy, against real servers. <see cref="SandboxTests"/> has curl and Python.</summary>
public sealed class ClientTests
{
    private const string Strict = """{"allowOut": ["free.example.net"]}""";

    [Theory]
    [InlineData(null)]
    [InlineData(Strict)]
    public async Task Git_clones_and_pushes_with_a_stand_in_as_its_password(string? network)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(network, setup => setup.Secret("GIT_TOKEN", Sandbox.Credential, """{"hosts": ["git.example.com"], "auth": {"type": "basic", "username": "x-access-token"}}"""));
        string folder = sandbox.Setup.Directory;
        const string AsSomebody = "git -c user.name=somebody -c user.email=somebody@example.com -c init.defaultBranch=main";
        await sandbox.Network.Upstream.RunAsync("sh", "-ec", $"export HOME={folder}; {AsSomebody} init -q --bare {folder}/git/demo.git");

        Outcome outcome = await sandbox.ShellAsync(
            $"""
            set -e; export HOME={folder}; cd $HOME
            url=https://x-access-token:$GIT_TOKEN@git.example.com/git/demo.git
            {AsSomebody} clone -q $url first 2>/dev/null; cd first
            head -c 200000 /dev/urandom > data; git add data; {AsSomebody} commit -qm 'from the sandbox'; git push -q origin HEAD:main; cd ..
            git ls-remote $url main | cut -f2
            git clone -q $url second; cmp first/data second/data; git -C second log --format=%s
            """);
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Equal("refs/heads/main\nfrom the sandbox\n", outcome.Output);
        Assert.Equal("from the sandbox\n", (await sandbox.Network.Upstream.RunAsync("git", "-C", $"{folder}/git/demo.git", "log", "--format=%s", "main")).Output);
        string password = "Basic " + Convert.ToBase64String(Encoding.ASCII.GetBytes($"x-access-token:{Sandbox.Credential}"));
        Assert.Contains(sandbox.Reached, line => line.StartsWith($"https {Sandbox.Service} git.example.com /git/demo.git/git-receive-pack {password} ", StringComparison.Ordinal));
        // Git asks without a password first, and is told that it needs one.
        Assert.All(sandbox.Reached, line => Assert.Matches($" /git/demo.git/\\S+ (-|{password})( \\d+)?$", line));
        Assert.Equal("git-token", (string?)(await sandbox.EventAsync("kind", "request", item => item["path"]!.ToString().EndsWith("/git-upload-pack", StringComparison.Ordinal)))["secret"]);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(Strict)]
    public async Task Apt_updates_and_downloads_over_HTTP(string? network)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(network);
        string folder = sandbox.Setup.Directory;
        await sandbox.Network.Upstream.RunAsync("sh", "-ec",
            $"""
            mkdir -p {folder}/files/debian; cd {folder}/files/debian
            for name in one two three; do
              mkdir -p ../../$name/DEBIAN
              printf 'Package: superserve-%s\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.net>\nDescription: nothing\n' $name > ../../$name/DEBIAN/control
              dpkg-deb --build ../../$name $name.deb >&2
              cat ../../$name/DEBIAN/control; printf 'Filename: %s.deb\nSize: %s\nSHA256: %s\n\n' $name $(stat -c %s $name.deb) $(sha256sum $name.deb | cut -c -64)
            done > Packages
            """);
        // Nothing of the machine's own apt: neither its settings nor its state.
        File.WriteAllText(Path.Combine(folder, "sources.list"), "deb [trusted=yes] http://free.example.net/files/debian ./\n");
        File.WriteAllText(Path.Combine(folder, "apt.conf"),
            $$"""
            Dir "{{folder}}/apt"; Dir::Etc { Parts "/dev/null"; SourceList "{{folder}}/sources.list"; SourceParts "/dev/null"; Preferences "/dev/null"; PreferencesParts "/dev/null"; Trusted "/dev/null"; TrustedParts "/dev/null"; };
            Dir::State::status "{{folder}}/apt/status"; APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "0";
            """);

        Outcome outcome = await sandbox.ShellAsync(
            $"""
            set -e; export APT_CONFIG={folder}/apt.conf; mkdir -p {folder}/apt/var/lib/apt/lists/partial {folder}/apt/var/cache/apt/archives/partial {folder}/apt/var/log/apt; touch {folder}/apt/status; cd {folder}/apt
            apt-get -qq update; apt-get -qq download superserve-one superserve-two superserve-three
            for name in one two three; do cmp superserve-"$name"_1_all.deb {folder}/files/debian/$name.deb; done
            """);
        Assert.True(outcome.Status == 0, outcome.ToString());
        foreach (string file in (string[])["Packages", "one.deb", "two.deb", "three.deb"]) Assert.Contains(sandbox.Reached, line => line.StartsWith($"http {Sandbox.Service} free.example.net /files/debian/", StringComparison.Ordinal) && line.EndsWith($"/{file} -", StringComparison.Ordinal));
        JsonObject connection = await sandbox.EventAsync("handling", "http");
        Assert.Equal(("free.example.net", "allowed"), ((string?)connection["host"], (string?)connection["verdict"]));
    }

    [Theory]
    [InlineData(null)]
    [InlineData(Strict)]
    public async Task Node_fetches_with_a_credential_that_it_does_not_have(string? network)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(network);
        Outcome outcome = await sandbox.ShellAsync(
            """
            cat > node.js <<'END'
            const https = require('https')
            const headers = { authorization: 'Bearer ' + process.env.API_TOKEN }
            fetch('https://api.example.com/fetch', { headers }).then(response => response.text()).then(text => {
              console.log(text)
              https.get('https://api.example.com/get', { headers }, response => response.on('data', data => console.log(String(data))))
            })
            END
            node node.js
            """.Replace("node.js", Path.Combine(sandbox.Setup.Directory, "node.js"), StringComparison.Ordinal));
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Equal("ok\nok\n", outcome.Output);
        Assert.Equal([$"https {Sandbox.Service} api.example.com /fetch Bearer {Sandbox.Credential}", $"https {Sandbox.Service} api.example.com /get Bearer {Sandbox.Credential}"], sandbox.Reached);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(Strict)]
    public async Task Ssh_runs_a_command_elsewhere(string? network)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(network);
        string folder = sandbox.Setup.Directory;
        // In this server's mounts, root's home is a folder of the test.
        RunningProgram server = sandbox.Network.Upstream.Start("sh", "-ec",
            $"""
            cd {folder}; mkdir -p root/.ssh; chmod -R go= root; ssh-keygen -qt ed25519 -N '' -f key; cp key.pub root/.ssh/authorized_keys
            dropbearkey -t ed25519 -f host | grep ^ssh-ed25519; mount --bind root ~root; exec dropbear -F -E -r host -p 22 2>&1
            """);
        await server.LineAsync(line => line.Contains("Not backgrounding", StringComparison.Ordinal), "its being ready");

        Outcome outcome = await sandbox.ShellAsync(
            $"""
            cd {folder}; ssh-keyscan -t ed25519 free.example.net 2>/dev/null | tee known | cut -d' ' -f2-
            head -c 3000000 /dev/zero | ssh -F none -i key -o UserKnownHostsFile=known -o StrictHostKeyChecking=yes root@free.example.net 'wc -c; hostname > came; head -c 3000000 /dev/zero' | wc -c
            """);
        Assert.True(outcome.Status == 0, outcome.ToString());
        string[] lines = outcome.Output.Split('\n');
        Assert.StartsWith(lines[0], server.Lines[0], StringComparison.Ordinal);
        Assert.Equal("3000008", lines[1]);
        Assert.True(File.Exists(Path.Combine(folder, "root", "came")), string.Join('\n', server.Lines));
        JsonObject connection = await sandbox.EventAsync("port", "22", item => (string?)item["kind"] == "connection");
        Assert.Equal(("free.example.net", "allowed"), ((string?)connection["host"], (string?)connection["verdict"]));
    }

    [Theory]
    [InlineData(null)]
    [InlineData(Strict)]
    public async Task A_client_of_Redis_reads_and_writes(string? network)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(network);
        // The same program by either name; Debian's package of the server would start one.
        string program = Path.Combine(sandbox.Setup.Directory, "redis-server");
        File.CreateSymbolicLink(program, "/usr/bin/redis-check-rdb");
        RunningProgram server = sandbox.Network.Upstream.Start(program, "--protected-mode", "no", "--save", "", "--dir", sandbox.Setup.Directory);
        await server.LineAsync(line => line.Contains("Ready to accept connections", StringComparison.Ordinal), "its being ready");

        Outcome outcome = await sandbox.ShellAsync("redis-cli -h free.example.net SET word 'from the sandbox'; redis-cli -h free.example.net GET word; seq 1 20000 | sed 's/.*/SET key& value&/' | redis-cli -h free.example.net --pipe | grep replies; redis-cli -h free.example.net DBSIZE");
        Assert.Equal("OK\nfrom the sandbox\nerrors: 0, replies: 20000\n20001\n", outcome.Output);
        Assert.Equal("from the sandbox\n", (await sandbox.Network.Upstream.RunAsync("redis-cli", "GET", "word")).Output);
        JsonObject connection = await sandbox.EventAsync("port", "6379", item => (string?)item["kind"] == "connection");
        Assert.Equal(("free.example.net", "allowed"), ((string?)connection["host"], (string?)connection["verdict"]));
    }

    [Theory]
    [InlineData(null)]
    [InlineData(Strict)]
    public async Task A_WebSocket_opens_with_a_stand_in_and_carries_frames(string? network)
    {
        await using Sandbox sandbox = await Sandbox.StartAsync(network);
        Outcome outcome = await sandbox.PythonAsync(
            """
            import websocket
            for url, header in (('wss://api.example.com/live', ['Authorization: Bearer ' + os.environ['API_TOKEN']]), ('ws://free.example.net/live', [])):
                ws = websocket.create_connection(url, timeout=20, header=header)
                for size in (5, 300, 70000):
                    ws.send('x' * size); print(len(ws.recv()))
                ws.close()
            """);
        Assert.True(outcome.Status == 0, outcome.ToString());
        Assert.Equal("5\n300\n70000\n5\n300\n70000\n", outcome.Output);
        Assert.Contains($"https {Sandbox.Service} api.example.com /live Bearer {Sandbox.Credential}", sandbox.Reached);
        Assert.Contains($"http {Sandbox.Service} free.example.net /live -", sandbox.Reached);
        Assert.Equal(2, sandbox.Reached.Count(line => line == $"frame {Sandbox.Service} 70000"));
        Assert.Equal("api-token", (string?)(await sandbox.EventAsync("kind", "request"))["secret"]);
    }
}
