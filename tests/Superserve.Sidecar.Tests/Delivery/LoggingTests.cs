using System.Reflection;
using Microsoft.Extensions.Logging;
using Superserve.Sidecar.Commands;

namespace Superserve.Sidecar.Tests.Delivery;

public sealed class LoggingTests
{
    /// <summary>A message of the protocol, or a list of them, would be written out with its credentials.</summary>
    [Fact]
    public void Only_plain_texts_and_numbers_are_logged()
    {
        MethodInfo[] methods = [.. typeof(SidecarHost).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods(BindingFlags.Instance | BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public | BindingFlags.DeclaredOnly))
            .Where(method => method.GetCustomAttribute<LoggerMessageAttribute>() is not null)];
        Assert.True(methods.Length > 20);
        Type[] plain = [typeof(string), typeof(int), typeof(long), typeof(double), typeof(ILogger)];
        Assert.All(methods.SelectMany(method => method.GetParameters()), parameter => Assert.Contains(parameter.ParameterType, plain));
    }
}
