using System.CommandLine;
using Superserve.Operator.Commands;

RootCommand root = new("The operator of Superserve for Kubernetes: admits sandboxes, feeds their sidecars, and says what it found.") { RunCommand.Create() };
return await root.Parse(args).InvokeAsync();
