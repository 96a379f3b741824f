using System.Globalization;
using Google.Protobuf;
using Superserve.Protocol.Audit;

namespace Superserve.Operator.AuditApi;

/// <summary>
/// What a list asks for: its selectors, its window and its page. Without <c>since</c> the window is the last hour and at most
/// <see cref="DefaultRows"/> rows, over all pages together, because kubectl follows <c>continue</c> to the end.
/// </summary>
internal sealed class AuditQuery
{
    /// <summary>How many rows a list without <c>since</c> shows.</summary>
    public const int DefaultRows = 1000;

    /// <summary>How many rows the audit service gives at once.</summary>
    public const int MaxPage = 1000;

    private static readonly TimeSpan DefaultWindow = TimeSpan.FromHours(1);

    private readonly AuditResource _resource;
    private readonly bool _isFirst;
    private readonly int? _limit;
    private readonly int? _left;

    private AuditQuery(AuditResource resource, ListRequest request, bool isFirst, int? limit, int? left)
    {
        _resource = resource;
        Request = request;
        _isFirst = isFirst;
        _limit = limit;
        _left = left;
        request.Limit = (uint)Math.Min(limit ?? MaxPage, left ?? MaxPage);
        if (request.Limit > MaxPage) request.Limit = MaxPage;
    }

    /// <summary>For the audit service.</summary>
    public ListRequest Request { get; }

    /// <summary>Whether the selectors contradict the namespace that is asked for: then there is nothing.</summary>
    public bool IsEmpty { get; private init; }

    /// <summary>One row.</summary>
    public static ListRequest One(AuditResource resource, string inNamespace, string name) => new() { Log = resource.Log, Namespace = inNamespace, Name = name, Limit = 1 };

    /// <summary>Reads a list's parameters.</summary>
    /// <param name="resource">What is listed.</param>
    /// <param name="inNamespace">Where; empty for everywhere.</param>
    /// <param name="query">The parameters.</param>
    /// <param name="now">The time.</param>
    /// <exception cref="AuditApiException">They cannot be used.</exception>
    public static AuditQuery Read(AuditResource resource, string inNamespace, IQueryCollection query, DateTimeOffset now)
    {
        if (query["labelSelector"].ToString().Trim().Length > 0)
            throw AuditApiException.BadRequest($"{resource.Kind.Plural} carry no labels, so that no label selector (-l) finds any; select them by --field-selector, as sandbox=NAME");
        int? limit = Limit(query["limit"].ToString());
        FieldSelectors selectors = FieldSelectors.Read(resource, query["fieldSelector"].ToString(), now);
        ListRequest request = new() { Log = resource.Log, Namespace = inNamespace };
        bool contradicts = false;
        foreach (string named in selectors.Namespaces)
        {
            contradicts |= request.Namespace.Length > 0 && request.Namespace != named;
            request.Namespace = named;
        }

        if (selectors.Name is { } name)
        {
            request.Name = name;
            return new AuditQuery(resource, request, isFirst: false, limit, left: null) { IsEmpty = contradicts };
        }

        request.Filters.AddRange(selectors.Filters);
        if (query["continue"].ToString() is { Length: > 0 } text)
        {
            ContinueToken token = ContinueToken.Read(text, resource.Log, inNamespace);
            request.Since = token.Since;
            request.Before = token.Before;
            request.Continue = UnsafeByteOperations.UnsafeWrap(token.Cursor);
            return new AuditQuery(resource, request, isFirst: false, limit, token.Left) { IsEmpty = contradicts };
        }

        DateTimeOffset since = selectors.Since ?? (selectors.Before ?? now) - DefaultWindow;
        request.Since = Microseconds(since);
        request.Before = selectors.Before is { } before ? Microseconds(before) : 0;
        return new AuditQuery(resource, request, isFirst: true, limit, selectors.Since is null ? DefaultRows : null) { IsEmpty = contradicts };
    }

    /// <summary>The token of the page after this one; null at the end.</summary>
    public string? Next(string inNamespace, ListReply reply, int rows)
    {
        if (reply.Continue.IsEmpty || _left <= rows) return null;
        return new ContinueToken(_resource.Log, inNamespace, Request.Since, Request.Before, _left - rows, reply.Continue.ToByteArray()).Write();
    }

    /// <summary>What kubectl prints beside the rows.</summary>
    public IEnumerable<string> Warnings(ListReply reply, int rows)
    {
        if (_left is not null && _isFirst)
            yield return $"without since this is {(Request.Before == 0 ? "the last hour" : "the hour up to before")}, and at most {DefaultRows} rows; name a window with --field-selector since=24h";
        if (reply.Continue.IsEmpty) yield break;
        if (_left <= rows) yield return $"there are more rows in this window than the {DefaultRows} that are shown; name a window with --field-selector since=1h to see all";
        else if (_limit is null) yield return $"there are more rows than the {rows} of this page; ask with a limit, and follow metadata.continue";
    }

    private static long Microseconds(DateTimeOffset time) => Math.Max(0, (time - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond);

    private static int? Limit(string text)
    {
        if (text.Length == 0) return null;
        if (!long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long limit))
            throw AuditApiException.BadRequest("limit is not a number from 0 on");
        return limit == 0 ? null : (int)Math.Min(limit, MaxPage);
    }
}
