using System.CommandLine;
using Superserve.Core.Secrets;
using Superserve.Sidecar.Commands;

RootCommand root = new("The egress sidecar of Superserve: sandboxed code uses stand-ins, and the sidecar swaps in the credentials, for the allowed hosts only.")
{
    RunCommand.Create(),
    ExecCommand.Create(),
    InitNetworkCommand.Create(),
};

if (args is ["run", ..]) ProcessSettings.Apply();
try
{
    ProcessMemory.Protect();
    return await root.Parse(args).InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
}
catch (UsageException exception)
{
    Console.Error.WriteLine($"superserve-sidecar: {exception.Message}");
    return exception.Status;
}
