using System.Globalization;

namespace Superserve.ApiServer.Tables;

/// <summary>Durations as kubectl shows them: two units where the first is small.</summary>
internal static class Ages
{
    public static string Since(string? timestamp, DateTimeOffset now) =>
        DateTimeOffset.TryParse(timestamp, CultureInfo.InvariantCulture, out DateTimeOffset time) ? Short(now - time) : "<unknown>";

    public static string Short(TimeSpan age)
    {
        long seconds = (long)age.TotalSeconds;
        if (seconds < -1) return "<invalid>";
        if (seconds < 0) return "0s";
        if (seconds < 60 * 2) return $"{seconds}s";
        long minutes = seconds / 60;
        if (minutes < 10) return Two(minutes, "m", seconds % 60, "s");
        if (minutes < 60 * 3) return $"{minutes}m";
        long hours = minutes / 60;
        if (hours < 8) return Two(hours, "h", minutes % 60, "m");
        if (hours < 48) return $"{hours}h";
        long days = hours / 24;
        if (hours < 24 * 8) return Two(days, "d", hours % 24, "h");
        if (days < 365 * 2) return $"{days}d";
        long years = days / 365;
        return years < 8 ? Two(years, "y", days % 365, "d") : $"{years}y";
    }

    private static string Two(long first, string unit, long second, string smaller) => second == 0 ? $"{first}{unit}" : $"{first}{unit}{second}{smaller}";
}
