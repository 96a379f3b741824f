namespace Superserve.Operator.Certificates;

/// <summary>A Secret holds something else than it should. The message says what and never quotes it.</summary>
internal sealed class UnusableSecretException(string message) : Exception(message);
