using Microsoft.AspNetCore.Http;
using Superserve.ApiServer.Authentication;
using Superserve.ApiServer.Authorization;

namespace Superserve.ApiServer.Serving;

/// <summary>Objects that are questions: posted, answered, not stored.</summary>
internal sealed class ReviewEndpoint(Authenticator authenticator, AccessReviews reviews, PodEndpoint pods)
{
    public async Task HandleAsync(HttpContext context, ResourceRequest request, UserInfo user)
    {
        JsonObject review = await RequestBody.ReadObjectAsync(context.Request);
        review["apiVersion"] = request.Type.ApiVersion;
        review["kind"] = request.Type.Kind;
        JsonObject answer = request.Type.Kind switch
        {
            "TokenReview" => authenticator.Review(review),
            "SelfSubjectReview" => AccessReviews.WhoAmI(review, user),
            "SubjectAccessReview" => reviews.ReviewSubject(review, ""),
            "LocalSubjectAccessReview" => reviews.ReviewSubject(review, request.Namespace),
            "SelfSubjectAccessReview" => reviews.ReviewSelf(review, user),
            "SelfSubjectRulesReview" => reviews.ReviewRules(review, user),
            _ => pods.Bind(request.Namespace, review.Name(), review),
        };
        await Responses.WriteAsync(context, 201, answer);
    }
}
