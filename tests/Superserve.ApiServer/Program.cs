using System.Globalization;
using System.Runtime.InteropServices;
using Superserve.ApiServer;

// Runs until it is told to end: Superserve.ApiServer [--kubeconfig FILE] [--port N]
string? kubeconfig = null;
int port = 0;
for (int index = 0; index < args.Length; index += 2)
{
    string? value = index + 1 < args.Length ? args[index + 1] : null;
    if (args[index] == "--kubeconfig" && value is not null) kubeconfig = value;
    else if (args[index] == "--port" && int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out port)) continue;
    else
    {
        Console.Error.WriteLine("usage: Superserve.ApiServer [--kubeconfig FILE] [--port N]");
        return 2;
    }
}

TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
void End(PosixSignalContext context)
{
    context.Cancel = true;
    ended.TrySetResult();
}

using PosixSignalRegistration interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);
using PosixSignalRegistration terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);
await using EmbeddedApiServer server = await EmbeddedApiServer.StartAsync(new EmbeddedApiServerOptions { KubeconfigPath = kubeconfig, Port = port });
Console.WriteLine($"listening on {server.BaseAddress}");
Console.WriteLine($"kubeconfig {server.KubeconfigPath}");
await ended.Task;
return 0;
