using System.Collections;
using System.Reflection;
using System.Text;

namespace Superserve.Protocol.Tests;

/// <summary>A value of Core written out property by property, so that two can be compared whole, hidden texts included.</summary>
internal static class Shape
{
    public static string Of(object? value)
    {
        StringBuilder text = new();
        Write(value, text, "");
        return text.ToString();
    }

    private static void Write(object? value, StringBuilder text, string indent)
    {
        switch (value)
        {
            case null:
                text.AppendLine("null");
                break;
            case ReadOnlyMemory<byte> bytes:
                text.AppendLine(Convert.ToHexString(bytes.Span));
                break;
            case IEnumerable list and not string:
                text.AppendLine("[");
                foreach (object? item in list) Write(item, text.Append(indent).Append("- "), indent + "  ");
                text.Append(indent).AppendLine("]");
                break;
            case not Enum when value.GetType().Namespace!.StartsWith("Superserve.Core", StringComparison.Ordinal):
                text.AppendLine(value.GetType().Name);
                foreach (PropertyInfo property in value.GetType().GetProperties(BindingFlags.Instance | BindingFlags.Public))
                    Write(property.GetValue(value), text.Append(indent).Append(property.Name).Append(": "), indent + "  ");
                break;
            default:
                text.AppendLine(value.ToString());
                break;
        }
    }
}
