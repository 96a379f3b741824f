using System.CommandLine;
using Superserve.Sidecar.Capture;

namespace Superserve.Sidecar.Commands;

/// <summary><c>init-network</c>: installs the rules that lead the sandbox's connections to the sidecar.</summary>
internal static class InitNetworkCommand
{
    private const int Failed = 1;

    public static Command Create()
    {
        Option<bool> print = new("--print") { Description = "Writes the rules to standard output and changes nothing." };
        Option<bool> remove = new("--remove") { Description = "Takes the rules away; no error where there are none." };
        Command command = new("init-network",
            "Installs nftables rules in the network namespace that it runs in: outgoing TCP goes to the sidecar's port 16001, DNS to 16053, and "
            + "nothing else gets out but what the sidecar sends. Needs the capability NET_ADMIN, the program nft, and a kernel with nf_tables. "
            + "In a pod the init container superserve-init runs it, before anything else does. Running it again installs the same rules anew, "
            + "in one transaction. Where it fails, it has changed nothing.") { print, remove };
        command.SetAction(async (result, _) =>
        {
            if (result.GetValue(print) && result.GetValue(remove)) throw new UsageException("--print and --remove do not go together: --print changes nothing.");
            if (result.GetValue(print)) Console.Out.Write(NetworkRuleset.Text);
            else if (result.GetValue(remove)) await ApplyAsync(NetworkRuleset.Removal);
            else await InstallAsync();
            return 0;
        });
        return command;
    }

    private static async Task InstallAsync()
    {
        await ApplyAsync(NetworkRuleset.Text);
        // A kernel that takes rules and ignores them would leave the sandbox free.
        using CaptureControl control = new();
        if (!control.RulesAreInForce())
            throw new UsageException("nft installed the rules without an error, but packets do not pass through them. The kernel, or what stands for it, "
                + "does not carry nf_tables out. Run the sandbox on another node, or choose capture Explicit for its runtimeClass.", Failed);
    }

    private static async Task ApplyAsync(string script)
    {
        string program = NftProgram.Find(Environment.GetEnvironmentVariable("PATH"))
            ?? throw new UsageException("The program nft is neither on PATH nor at /usr/sbin/nft, so the rules cannot be installed. Use an image of the sidecar "
                + "that has it (Debian's package nftables); the project's own does.", Failed);
        if (await NftProgram.ApplyAsync(program, script) is { } message) throw new UsageException($"The pod's network rules are unchanged, because nft failed. {Explain(message)}\nnft said: {message}", Failed);
    }

    private static string Explain(string message) =>
        message.Contains("Operation not permitted", StringComparison.Ordinal) || message.Contains("Permission denied", StringComparison.Ordinal)
            ? "The container lacks the capability NET_ADMIN in its network namespace: its securityContext has to add it, and a policy must not take "
                + "it away. Admission writes it for superserve-init; look at what changed the pod after it, and whether the namespace's Pod Security level permits NET_ADMIN."
            : "The kernel probably lacks nf_tables or a part of it (CONFIG_NF_TABLES_INET, NFT_CT, NFT_NAT, NFT_REDIR, NFT_REJECT_INET, NFT_FIB_INET; modules of these names are loaded on the node): "
                + "load them there. Where there is no nf_tables, as under gVisor, choose capture Explicit for that runtimeClass.";
}
