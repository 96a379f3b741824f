using System.CommandLine;

namespace Superserve.Sidecar.Commands;

/// <summary>Options that several commands take.</summary>
internal static class CommonOptions
{
    public static Option<string?> Config(bool isRequired) => new("--config")
    {
        Description = "The configuration, a JSON file (docs/local-mode.md describes it). Changes to it and to the credential files count from the next request on.",
        HelpName = "FILE",
        Required = isRequired,
    };

    public static Option<LogLevel> LogLevel(LogLevel standard) => new("--log-level")
    {
        Description = "What goes to standard error: Trace, Debug, Information, Warning, Error, Critical or None. No level shows a credential or a stand-in.",
        HelpName = "LEVEL",
        DefaultValueFactory = _ => standard,
    };
}
