using System.CommandLine;
using Superserve.Core.Secrets;
using Superserve.Operator.Commands;

RootCommand root = new("The operator of Superserve for Kubernetes: admits sandboxes, feeds their sidecars, and says what it found.") { RunCommand.Create(), AuditCommand.Create() };
ProcessMemory.Protect();
// Without a timeout: draining takes longer than the library's two seconds.
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = null });
