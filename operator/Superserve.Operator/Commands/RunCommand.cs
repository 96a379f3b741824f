using System.CommandLine;

namespace Superserve.Operator.Commands;

/// <summary><c>run --config FILE</c>: the operator, until it is told to end.</summary>
internal static class RunCommand
{
    public static Command Create() => new("run", "Runs the operator until it gets SIGTERM or SIGINT.");
}
